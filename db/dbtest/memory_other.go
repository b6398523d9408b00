//go:build !linux

package dbtest

// memoryDir: only Linux has a file system in memory that is always there.
func memoryDir() string { return "" }
