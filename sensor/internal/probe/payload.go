package probe

import "fmt"

// MaxPayloadPorts is the most ports that SetPayload tells apart.
const MaxPayloadPorts = 8

// SetPayload says of which system calls events hold the data from now on, nil is all, and of sockets with which ports at
// either end, none is of everything. After Load it is all of everything. A name that has no program here is passed over.
func (p *Probe) SetPayload(calls []string, ports []uint16) error {
	var of [numSlots / 32]uint32
	var list [MaxPayloadPorts]uint16
	if len(ports) > len(list) {
		return fmt.Errorf("%d ports are more than %d", len(ports), len(list))
	}
	copy(list[:], ports)
	if calls == nil {
		for i := range of {
			of[i] = ^uint32(0)
		}
	}
	for _, name := range calls {
		if slot, ok := p.slots[name]; ok {
			of[slot/32] |= 1 << (slot % 32)
		}
	}
	if p.coll.Variables["payload_of"] == nil {
		return nil // no program left that copies data
	}
	if err := p.set("payload_port", list); err != nil {
		return err
	}
	return p.set("payload_of", of)
}
