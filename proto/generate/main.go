// Command generate compiles the .proto files of proto/opentera and proto/terasocket and writes the generated Go beside them. It needs no
// protoc: protocompile parses the files, and the protoc-gen-go pinned in go.mod generates the code.
//
//	go run ./proto/generate          write *.pb.go
//	go run ./proto/generate -check   write nothing, fail if a file is not current
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	dir := flag.String("dir", "proto", "folder that holds opentera/*.proto and terasocket/*.proto")
	check := flag.Bool("check", false, "write nothing, fail if generated code is not current")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// folders are the folders with .proto files.
var folders = [...]string{"opentera", "terasocket"}

// inFolders lists the files of dir/<folder>/ that match, folder by folder in alphabetical order.
func inFolders(dir, pattern string) ([]string, error) {
	var all []string
	for _, folder := range folders {
		paths, err := filepath.Glob(filepath.Join(dir, folder, pattern))
		if err != nil {
			return nil, err
		}
		all = append(all, paths...)
	}
	return all, nil
}

// run generates the code for the .proto files and writes it, or with check compares it with the existing files.
func run(ctx context.Context, dir string, check bool) error {
	request, err := compile(ctx, dir)
	if err != nil {
		return err
	}
	response, err := protocGenGo(ctx, request)
	if err != nil {
		return err
	}
	old, err := inFolders(dir, "*.pb.go")
	if err != nil {
		return err
	}
	var stale []error
	for _, f := range response.File {
		path := filepath.Join(dir, filepath.FromSlash(f.GetName()))
		old = slices.DeleteFunc(old, func(p string) bool { return p == path })
		if !check {
			if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
				return err
			}
		} else if got, err := os.ReadFile(path); err != nil || string(got) != f.GetContent() {
			stale = append(stale, fmt.Errorf("%s is not current: go generate ./proto/... makes it so", path))
		}
	}
	for _, path := range old { // its .proto was removed
		if !check {
			if err := os.Remove(path); err != nil {
				return err
			}
		} else {
			stale = append(stale, fmt.Errorf("%s has no .proto file", path))
		}
	}
	return errors.Join(stale...)
}

// compile compiles the .proto files into the request that protoc would send to a generator.
func compile(ctx context.Context, dir string) (*pluginpb.CodeGeneratorRequest, error) {
	paths, err := inFolders(dir, "*.proto")
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no .proto file in the folders of %s", dir)
	}
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(filepath.Dir(path))+"/"+filepath.Base(path))
	}

	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments
	}
	files, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}

	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      proto.String("paths=source_relative"),
	}
	added := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) { // a file comes after its imports
		if added[f.Path()] {
			return
		}
		added[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return request, nil
}

// protocGenGo runs the generator pinned in go.mod.
func protocGenGo(ctx context.Context, request *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("marshal request: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "tool", "protoc-gen-go")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("protoc-gen-go: %w", err)
	}
	response := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(out, response); err != nil {
		return nil, fmt.Errorf("unmarshal response: %w", err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("protoc-gen-go: %s", response.GetError())
	}
	return response, nil
}
