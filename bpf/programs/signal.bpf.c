/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* signal_deliver: a signal as the thread that gets it takes it. Loaded only when somebody asks for the event. */

#define SIGHUP 1
#define SIGINT 2
#define SIGQUIT 3
#define SIGKILL 9
#define SIGTERM 15
#define SIGCHLD 17
#define SIGTSTP 20
#define SIGRTMIN 32

/*
 * Who sent it, in the receiver's pid namespace; 0 for the kernel, and for signals of which the format doesn't tell. All
 * variants of what comes with a signal that have a pid begin with it.
 */
__inline_always s64 signal__sender(int sig, struct kernel_siginfo *info)
{
	s64 pid = READ(info, _sifields._kill._pid);
	switch (sig) {
	case SIGKILL:
	case SIGCHLD:
		return pid;
	case SIGHUP:
	case SIGINT:
	case SIGQUIT:
	case SIGTERM:
	case SIGTSTP:
		return READ(info, si_code) <= 0 ? pid : 0; /* SI_USER, SI_QUEUE, SI_TKILL: not the kernel's own */
	}
	return sig >= SIGRTMIN ? pid : 0;
}

SEC("tp_btf/signal_deliver")
int BPF_PROG(signal_deliver, int sig, struct kernel_siginfo *info, struct k_sigaction *ka)
{
	struct rec r;
	u64 id = bpf_get_current_pid_tgid();
	if (id >> 32 == self_tgid)
		return 0;
	s64 sender = signal__sender(sig, info);
	struct cpu *cpu = submit__cpu();
	if (!cpu || !submit__reserve(&r, cpu, SIGNALDELIVER_E, SIGNALDELIVER_E_N, SIGNALDELIVER_E_END, (u32)id, NO_NR, 0, 0))
		return 0;
	/* spid: ParamPid */
	store__s64(&r, sender);
	/* dpid: ParamPid, the thread */
	store__s64(&r, (u32)id);
	/* sig: ParamSigtype */
	store__u8(&r, sig);
	submit__reserved(&r);
	return 0;
}
