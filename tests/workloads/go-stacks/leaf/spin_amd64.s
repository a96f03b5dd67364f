#include "textflag.h"

// func Spin(rounds uint64) uint64
TEXT ·Spin(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ rounds+0(FP), CX
	XORQ AX, AX
again:
	IMULQ $31, AX
	ADDQ CX, AX
	DECQ CX
	JNZ again
	MOVQ AX, ret+8(FP)
	RET
