package pcie

import (
	"errors"
	"fmt"
	"math/big"

	"dmapath/sim"
	"dmapath/tlb"
)

// Credits are the receive buffers that one side advertises to the other. 0 means infinite.
type Credits struct {
	PostedHeaders    int // packets
	PostedData       int // units of 16 B
	NonPostedHeaders int // packets
}

// Config describes a device, its root port and the link between them.
type Config struct {
	Gen   int // 1 to 5: 2.5, 5, 8, 16, 32 GT/s per lane
	Lanes int // 1, 2, 4, 8, 16
	MPS   int // maximum payload size, bytes: 128 to 4096, power of two
	MRRS  int // maximum read request size, bytes: 128 to 4096, power of two
	RCB   int // read completion boundary, bytes: 64 or 128
	// CompletionSize is the largest payload that the root port puts in one completion, bytes: a power of two from RCB to
	// MPS. 0 means MPS. Root complexes that answer line by line have 64.
	CompletionSize int
	Tags           int  // outstanding read requests: 1 to 1024 (32 without, 256 with extended, 768 with 10-bit tags)
	ECRC           bool // 4 more bytes per packet

	Root   Credits // receive buffers of the root port: the device's writes and read requests
	Device Credits // receive buffers of the device: doorbells and register reads
	// CompletionBuffer is how many bytes of read data the device has room for; requests wait until theirs fits. 0 means as
	// much as the tags can ask for.
	CompletionBuffer int

	// AckInterval and FCInterval say after how many bytes of packets an acknowledgement, and a credit update, of 8 B is
	// sent in the same direction. 0 means the recommended limit, see AckLimit.
	AckInterval int
	FCInterval  int

	EndpointLatency sim.Time // device's DMA engine or registers to its link pins, each way
	LinkLatency     sim.Time // serialiser, wire and deserialiser, each way
	RootUp          sim.Time // root port pins to the translation agent
	RootDown        sim.Time // data at the root complex to the root port's pins
	HostLatency     sim.Time // CPU core to root port for register accesses, each way
	RegisterRead    sim.Time // device's register file
	Interrupt       sim.Time // root complex to the CPU's local APIC, interrupt remapping included
	CreditReturn    sim.Time // buffer freed to credits usable by the sender, the update's way included

	// DeviceTLB is the device's own cache of translations (ATS); without entries it has none and its requests carry the addresses that
	// software gave it. PageShifts are filled in by the port.
	DeviceTLB       tlb.Config
	DeviceTLBLookup sim.Time // looking a translation up in it

	// RelaxedOrdering lets memory writes become visible out of order, as after setting the attribute in every packet.
	// Interrupts still push all writes before them.
	RelaxedOrdering bool
}

// DefaultConfig returns a Gen3 x8 device with 256 B payload and 512 B read requests, 256 tags, and latencies that add up
// to the 413 ns which pcie-bench measured for a 64 B read from the last-level cache of a Haswell server (dossier of
// published numbers, section 2.1). The split of that sum over its stages is inferred.
func DefaultConfig() Config {
	return Config{
		Gen: 3, Lanes: 8, MPS: 256, MRRS: 512, RCB: 64, Tags: 256,
		Root:            Credits{PostedHeaders: 64, PostedData: 1024, NonPostedHeaders: 64},
		Device:          Credits{PostedHeaders: 32, PostedData: 64, NonPostedHeaders: 32},
		EndpointLatency: 60 * sim.Nanosecond,
		LinkLatency:     40 * sim.Nanosecond,
		RootUp:          60 * sim.Nanosecond,
		RootDown:        60 * sim.Nanosecond,
		HostLatency:     80 * sim.Nanosecond,
		RegisterRead:    100 * sim.Nanosecond,
		Interrupt:       150 * sim.Nanosecond,
		CreditReturn:    60 * sim.Nanosecond,
	}
}

// Validate returns every problem of c at once, nil if there is none.
func (c *Config) Validate() error {
	var errs []error
	bad := func(field string, v any, allowed string) {
		errs = append(errs, fmt.Errorf("pcie: %s is %v, allowed are %s", field, v, allowed))
	}
	if c.Gen < 1 || c.Gen > 5 {
		bad("gen", c.Gen, "1 to 5")
	}
	if !pow2(c.Lanes, 1, 16) {
		bad("lanes", c.Lanes, "1, 2, 4, 8, 16")
	}
	if !pow2(c.MPS, 128, 4096) {
		bad("mps", c.MPS, "powers of two from 128 to 4096 B")
	}
	if !pow2(c.MRRS, 128, 4096) {
		bad("mrrs", c.MRRS, "powers of two from 128 to 4096 B")
	}
	if c.RCB != 64 && c.RCB != 128 {
		bad("rcb", c.RCB, "64 and 128 B")
	}
	if c.CompletionSize != 0 && !pow2(c.CompletionSize, c.RCB, c.MPS) {
		bad("completion_size", c.CompletionSize, "0 and powers of two from rcb to mps")
	}
	if c.Tags < 1 || c.Tags > 1024 {
		bad("tags", c.Tags, "1 to 1024")
	}
	if c.CompletionBuffer != 0 && c.CompletionBuffer < c.MRRS {
		bad("completion_buffer", c.CompletionBuffer, "0 and mrrs or more")
	}
	for _, r := range []struct {
		who string
		c   Credits
	}{{"root", c.Root}, {"device", c.Device}} {
		if r.c.PostedHeaders < 0 || r.c.NonPostedHeaders < 0 || r.c.PostedData < 0 {
			bad(r.who+" credits", r.c, "0 (infinite) or more")
		}
		if r.c.PostedData > 0 && r.who == "root" && r.c.PostedData*16 < c.MPS {
			bad("root posted_data", r.c.PostedData, "0 and room for one packet of mps")
		}
	}
	if c.AckInterval < 0 || c.AckInterval > 0 && c.AckInterval < 2*dllpBytes {
		bad("ack_interval", c.AckInterval, "0 and 16 B or more")
	}
	if c.FCInterval < 0 || c.FCInterval > 0 && c.FCInterval < 2*dllpBytes {
		bad("fc_interval", c.FCInterval, "0 and 16 B or more")
	}
	for _, l := range []struct {
		name string
		t    sim.Time
	}{{"endpoint_latency", c.EndpointLatency}, {"link_latency", c.LinkLatency}, {"root_up", c.RootUp}, {"root_down", c.RootDown},
		{"host_latency", c.HostLatency}, {"register_read", c.RegisterRead}, {"interrupt", c.Interrupt}, {"credit_return", c.CreditReturn},
		{"device_tlb_lookup", c.DeviceTLBLookup}} {
		if l.t < 0 || l.t > sim.Millisecond {
			bad(l.name, l.t, "0 to 1 ms")
		}
	}
	return errors.Join(errs...)
}

func pow2(v, lo, hi int) bool { return v >= lo && v <= hi && v&(v-1) == 0 }

// Bytes on the link.
const (
	dllpBytes     = 8    // a data-link packet: 4 B, 2 B CRC, 2 B framing
	skipBytes     = 4    // a skip ordered set per lane ...
	skipInterval  = 1538 // ... in as many symbols
	framingBytes  = 8    // of a TLP: start, sequence number, link CRC, end
	header3DW     = 12   // completions, and requests below 4 GiB
	header4DW     = 16   // requests from 4 GiB
	ecrcBytes     = 4
	creditUnit    = 16   // bytes of payload per data credit
	pageBytes     = 4096 // no request crosses it
	registerBytes = 4
)

// transferRate is the rate per lane in 10^8 transfers per second, by generation.
var transferRate = [...]int64{1: 25, 2: 50, 3: 80, 4: 160, 5: 320}

// AckLimit returns the recommended number of symbol times after which packets are acknowledged, and credits
// updated: (MPS + 28) x AckFactor / lanes + internal delay (PCI Express base specification 5.0, tables 2-46 to 2-48 and 3-7 to
// 3-9).
func AckLimit(gen, lanes, mps int) int {
	factor := 10 // tenths
	switch {
	case mps <= 256 && lanes == 16:
		factor = 30
	case mps <= 256 && lanes == 8:
		factor = 25
	case mps <= 256:
		factor = 14
	case lanes == 16:
		factor = 20
	}
	delay := [...]int{1: 19, 2: 70, 3: 115, 4: 115, 5: 115}[gen]
	return (mps+28)*factor/(10*lanes) + delay
}

// femtosPerByte returns how long a byte of a TLP occupies the link in femtoseconds, the share of acknowledgements, credit
// updates and skip ordered sets included.
func (c *Config) femtosPerByte() uint64 {
	ack, fc := c.AckInterval, c.FCInterval
	if ack == 0 {
		ack = AckLimit(c.Gen, c.Lanes, c.MPS)
	}
	if fc == 0 {
		fc = AckLimit(c.Gen, c.Lanes, c.MPS)
	}
	num, den := int64(128), int64(130)
	if c.Gen <= 2 {
		num, den = 8, 10
	}
	bits := new(big.Rat).SetFrac64(transferRate[c.Gen]*100_000_000*int64(c.Lanes)*num, den)
	share := new(big.Rat).SetInt64(1)
	share.Sub(share, big.NewRat(dllpBytes, int64(ack)))
	share.Sub(share, big.NewRat(dllpBytes, int64(fc)))
	share.Sub(share, big.NewRat(skipBytes, skipInterval))
	t := new(big.Rat).Quo(new(big.Rat).SetInt64(8_000_000_000_000_000), bits.Mul(bits, share))
	q, r := new(big.Int).QuoRem(t.Num(), t.Denom(), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Uint64()
}

// TLPGbps returns the rate at which one direction carries TLP bytes, in Gb/s, for reports.
func (c *Config) TLPGbps() float64 { return 8e6 / float64(c.femtosPerByte()) }
