//go:build !linux

package dbtest

// memoryDir returns "": only Linux always has a file system in memory.
func memoryDir() string { return "" }
