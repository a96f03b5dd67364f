//go:build clib

package main

// #include <stdlib.h>
// static int twice(int value) { return 2 * value; }
// static int absolute(int value) { return abs(value); }
import "C"

import "os"

func init() {
	if C.twice(C.absolute(-2)) != 4 {
		os.Exit(1)
	}
}
