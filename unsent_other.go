//go:build !linux

package gotalk

func limitUnsent(any) {}
