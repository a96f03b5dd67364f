module go-cost

go 1.21
