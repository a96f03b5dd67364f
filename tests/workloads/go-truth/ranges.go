package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"
	_ "unsafe" // for linkname
)

// The runtime's own expansion of the last address of a stack into the calls that are inlined there: it
// leaves wrappers out like every traceback.
//
//go:linkname expand runtime/pprof.runtime_expandFinalInlineFrame
func expand(stack []uintptr) []uintptr

// say prints
//
//	base ADDRESS                    where the first page of the file is mapped
//	text START END                  the addresses of the functions
//	ADDRESS(\tNAME|FILE|LINE|STARTLINE)*
//
// and the last line for every range of addresses with equal functions: its first address and the
// functions, innermost first; none where the runtime cannot be asked. Addresses are hexadecimal.
func say(to io.Writer) {
	out := bufio.NewWriterSize(to, 1<<20)
	defer out.Flush()
	here := reflect.ValueOf(say).Pointer()
	fmt.Fprintf(out, "base %x\n", base(here))
	start, end := text(here)
	fmt.Fprintf(out, "text %x %x\n", start, end)
	var last string
	for pc := start; pc < end; pc++ {
		if chain := describe(pc); chain != last {
			fmt.Fprintf(out, "%x%s\n", pc, chain)
			last = chain
		}
	}
}

// text returns the addresses around pc that belong to functions: the runtime has no gaps between them.
func text(pc uintptr) (start, end uintptr) {
	known := func(pc uintptr) bool { return runtime.FuncForPC(pc) != nil }
	for step := uintptr(1 << 30); step > 0; step /= 2 {
		for start = pc - step; start < pc && known(start); start -= step {
			pc = start
		}
	}
	end = pc
	for step := uintptr(1 << 30); step > 0; step /= 2 {
		for next := end + step; next > end && known(next); next += step {
			end = next
		}
	}
	return pc, end + 1
}

// stack and chain are reused: this runs for every address.
var (
	stack = make([]uintptr, 0, 64)
	chain []byte
)

func describe(pc uintptr) string {
	chain = chain[:0]
	// CallersFrames takes return addresses and looks one byte before them, but never before the entry of
	// the function that they are in: so it cannot be asked for the last byte of a function.
	if next := runtime.FuncForPC(pc + 1); next == nil || next.Entry() == pc+1 {
		return ""
	}
	pcs := expand(append(stack[:0], pc+1))
	if len(pcs) == 0 {
		pcs = append(stack[:0], pc+1)
	}
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		if frame.Function == "" && frame.PC == 0 {
			break
		}
		file := frame.File
		if file == "?" {
			file = ""
		}
		startLine := reflect.ValueOf(&frame).Elem().FieldByName("startLine").Int()
		chain = fmt.Appendf(chain, "\t%s|%s|%d|%d", frame.Function, file, frame.Line, startLine)
		if !more {
			break
		}
	}
	return string(chain)
}

// base returns where the first page of the file that holds pc is mapped.
func base(pc uintptr) (base uintptr) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		panic(err)
	}
	first := map[string]uintptr{}
	for _, line := range strings.Split(string(maps), "\n") {
		var start, end, offset uintptr
		var access, device, path string
		var inode uint64
		read, _ := fmt.Sscanf(line, "%x-%x %s %x %s %d %s", &start, &end, &access, &offset, &device, &inode, &path)
		if read < 7 {
			continue
		}
		if offset == 0 {
			first[path] = start
		}
		if start <= pc && pc < end {
			return first[path]
		}
	}
	panic("nothing is mapped there")
}
