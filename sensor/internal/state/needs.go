package state

import "github.com/shikra-sensor/shikra/sensor/internal/event"

// NeedsPart reports whether state is kept from some events of type t: those by which fds come, or change whether exec closes
// them, or by which a connection turns out to have failed. They are few among many that nobody needs.
func NeedsPart(t event.Type) bool {
	return t == event.SyscallIoctlV3X || t == event.SocketRecvmsgX || t == event.SocketGetsockoptX
}

// Needs reports whether state is kept from events of type t: a source that leaves them out makes it wrong.
func Needs(t event.Type) bool {
	switch t {
	case event.SocketListenX, event.SyscallSetnsX, event.SyscallUnshareX, event.SyscallSetpgidX, event.SyscallSetrlimitX, event.SyscallPrlimitX:
		return true
	case event.SocketSendtoX, event.SocketSendmsgX, event.SocketSendmmsgX, event.SocketRecvfromX, event.SocketRecvmsgX, event.SocketRecvmmsgX:
		return false // they only tell more of datagram sockets
	case event.SocketShutdownX, event.SocketGetsockoptX:
		return false // they change what a socket does, not what it is
	}
	in := t.Info()
	return t.Current() && in.Origin == event.OriginSyscall && in.Flags&(event.FlagCreatesFd|event.FlagDestroysFd|event.FlagModifiesState) != 0
}

// NeedsFailed reports whether an event of type t can change the state although its call failed: a connection that is being
// made, an fd that is closed whatever close says.
func NeedsFailed(t event.Type) bool { return t == event.SocketConnectX || t == event.SyscallCloseX }
