#include "textflag.h"

// func Spin(rounds uint64) uint64
TEXT ·Spin(SB), NOSPLIT|NOFRAME, $0-16
	MOVD rounds+0(FP), R1
	MOVD $31, R2
	MOVD ZR, R0
again:
	MADD R2, R1, R0, R0
	SUBS $1, R1
	BNE again
	MOVD R0, ret+8(FP)
	RET
