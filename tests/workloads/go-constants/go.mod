module constants

go 1.21
