// Checks an exported log with golang.org/x/mod/sumdb (tlog and note) alone: signature, every leaf against its tile, the
// root recomputed, an inclusion proof of every leaf, a consistency proof from every smaller size tried. Knows nothing of
// Sallyport but the C2SP tlog-tiles paths.
//
//	tlog DIRECTORY VERIFIER-KEY-FILE
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tlog DIRECTORY VERIFIER-KEY-FILE")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2]); err != nil {
		fmt.Println("REJECTED:", err)
		os.Exit(1)
	}
}

func check(directory, keyFile string) error {
	tree, err := openCheckpoint(directory, keyFile)
	if err != nil {
		return err
	}
	leaves, err := readLeaves(directory, tree.N)
	if err != nil {
		return err
	}
	var stored []tlog.Hash
	memory := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for number, leaf := range leaves {
		hashes, err := tlog.StoredHashesForRecordHash(int64(number), tlog.RecordHash(leaf), memory)
		if err != nil {
			return err
		}
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(tree.N, memory)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the leaves lead to root %v, signed was %v", root, tree.Hash)
	}
	fromTiles := tlog.TileHashReader(tree, tiles(directory))
	for number, leaf := range leaves {
		proof, err := tlog.ProveRecord(tree.N, int64(number), fromTiles)
		if err != nil {
			return fmt.Errorf("record %d: %w", number, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(number), tlog.RecordHash(leaf)); err != nil {
			return fmt.Errorf("record %d: %w", number, err)
		}
	}
	step := tree.N/64 + 1
	for size := int64(1); size <= tree.N; size += step {
		smaller, err := tlog.TreeHash(size, memory)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, size, fromTiles)
		if err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, size, smaller); err != nil {
			return fmt.Errorf("size %d: %w", size, err)
		}
	}
	fmt.Printf("ACCEPTED: %d leaves under root %v\n", tree.N, tree.Hash)
	return nil
}

func openCheckpoint(directory, keyFile string) (tlog.Tree, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return tlog.Tree{}, err
	}
	message, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return tlog.Tree{}, err
	}
	signed, err := note.Open(message, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("this is not a checkpoint of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// number writes a tile's number as its path: 1234067 is x001/x234/067.
func number(n int64) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	return path
}

func partial(width int) string {
	if width == 1<<height {
		return ""
	}
	return fmt.Sprintf(".p/%d", width)
}

func readLeaves(directory string, size int64) ([][]byte, error) {
	var leaves [][]byte
	for bundle := int64(0); bundle<<height < size; bundle++ {
		width := int64(1 << height)
		if left := size - bundle<<height; left < width {
			width = left
		}
		path := filepath.Join(directory, "tile/entries", number(bundle)+partial(int(width)))
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < width; i++ {
			if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("%s is cut short", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			leaves, data = append(leaves, data[2:end]), data[end:]
		}
		if len(data) > 0 {
			return nil, fmt.Errorf("%s is too long", path)
		}
	}
	return leaves, nil
}

type tiles string

func (tiles) Height() int { return height }

func (directory tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		name := fmt.Sprintf("tile/%d/%s%s", tile.L, number(tile.N), partial(tile.W))
		data, err := os.ReadFile(filepath.Join(string(directory), name))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
