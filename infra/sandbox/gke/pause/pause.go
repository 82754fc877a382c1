// Package pause makes the image of the container that holds a pod's namespaces. Its program does nothing until it is
// killed, so it is 38 bytes of machine code in a minimal ELF file: no toolchain, one page of memory per pod.
package pause

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Reference is the image's name. Its registry does not exist: the image is loaded into each node, never pulled.
const Reference = "sandbox.patag.local/pause:1"

// loadAddress is where the program is mapped; any page above the lowest ones will do.
const loadAddress = 0x400000

// code ignores SIGCHLD, so that the kernel itself reaps the zombies of a pod with a shared process namespace, and then
// waits for ever. Other signals do nothing to it: it is process 1 without handlers, and is ended by SIGKILL.
var code = []byte{
	0x31, 0xff, // xor edi, edi
	0x83, 0xc7, 0x11, // add edi, 17 (SIGCHLD)
	0x48, 0x8d, 0x35, 0x1a, 0x00, 0x00, 0x00, // lea rsi, [rip+26] (action, after the code)
	0x31, 0xd2, // xor edx, edx
	0x41, 0xba, 0x08, 0x00, 0x00, 0x00, // mov r10d, 8 (size of a signal set)
	0xb8, 0x0d, 0x00, 0x00, 0x00, // mov eax, 13 (rt_sigaction)
	0x0f, 0x05, // syscall
	0xb8, 0x22, 0x00, 0x00, 0x00, // wait: mov eax, 34 (pause)
	0x0f, 0x05, // syscall
	0xeb, 0xf7, // jmp wait
	0x0f, 0x0b, // ud2, never reached
}

// action is the kernel's struct sigaction: handler SIG_IGN (1), flags, restorer, mask.
var action = [4]uint64{1, 0, 0, 0}

// program is the ELF file: header, one loadable segment that is the whole file, code, action.
func program() ([]byte, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("the pause program is written for amd64, not %s", runtime.GOARCH)
	}
	const headers = 64 + 56
	size := uint64(headers + len(code) + 32)
	var b bytes.Buffer
	for _, part := range []any{
		[16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, // 64 bit, little endian, version 1
		uint16(2), uint16(62), uint32(1),       // executable, x86-64, version 1
		uint64(loadAddress + headers), uint64(64), uint64(0), uint32(0), // entry, program headers at, no sections, flags
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0), // sizes and counts of headers
		uint32(1), uint32(5), uint64(0), uint64(loadAddress), uint64(loadAddress), size, size, uint64(4096), // load, read+execute
		code, action,
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// Image is the image.
func Image() (v1.Image, error) {
	binary, err := program()
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "pause", Mode: 0o755, Size: int64(len(binary)), Format: tar.FormatUSTAR}); err != nil {
		return nil, err
	}
	if _, err := w.Write(binary); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config.Entrypoint = []string{"/pause"}
	file.Config.User = "65535:65535"
	return mutate.ConfigFile(image, file)
}

// WriteArchive writes the image as an archive that containerd imports, unless the file is there.
func WriteArchive(file string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := writeArchive(file); err != nil {
		return fmt.Errorf("make the pause image %s: %w", file, err)
	}
	return nil
}

func writeArchive(file string) error {
	image, err := Image()
	if err != nil {
		return err
	}
	tag, err := name.NewTag(Reference)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	partial := file + ".partial"
	if err := tarball.WriteToFile(partial, tag, image); err != nil {
		return err
	}
	return os.Rename(partial, file)
}
