module dmapath

go 1.26.0
