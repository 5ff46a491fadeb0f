//go:build !linux || !(amd64 || arm64)

package native

import "dmapath/bench/host/program"

// Supported returns ErrUnsupported.
func Supported() error { return ErrUnsupported }

// Can reports whether p can run here.
func Can(*program.Program) bool { return false }

// Run panics: nothing can run here.
func Run(*program.Program, *program.State) { panic(ErrUnsupported) }

// Pin returns ErrUnsupported.
func Pin(int) (release func(), err error) { return func() {}, ErrUnsupported }

// Map returns ErrUnsupported.
func Map(uint64, uint8) (*program.Arena, error) { return nil, ErrUnsupported }

// Unmap does nothing.
func Unmap(*program.Arena) {}

// Switches is zero.
func Switches() int64 { return 0 }

// CounterHz is zero.
func CounterHz() float64 { return 0 }
