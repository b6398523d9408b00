package main

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"strconv"
	"strings"
)

// expr is SQL text that goes into the file verbatim.
type expr string

// table is one OpenTera table. columns[0] is the key, counted from 1; render adds version_id and deleted_at.
type table struct {
	name     string
	sequence string
	columns  []string
	hard     bool // has no deleted_at
	rows     [][]any
	deleted  map[int]bool // by key
}

type dataset struct {
	tables []*table // in the order of their foreign keys
	byName map[string]*table
}

func newDataset() *dataset {
	d := &dataset{byName: map[string]*table{}}
	for line := range strings.Lines(strings.TrimSpace(tables)) {
		f := strings.Fields(line)
		t := &table{name: f[0], sequence: f[1], columns: f[2:], deleted: map[int]bool{}}
		if t.columns[0] == "hard" {
			t.hard, t.columns = true, t.columns[1:]
		}
		d.tables = append(d.tables, t)
		d.byName[t.name] = t
	}
	return d
}

// add appends a row, the values of all columns but the key, and returns its key.
func (d *dataset) add(name string, values ...any) int {
	t := d.byName[name]
	if len(values) != len(t.columns)-1 {
		panic(fmt.Sprintf("%s: %d values for the columns %v", name, len(values), t.columns[1:]))
	}
	t.rows = append(t.rows, values)
	return len(t.rows)
}

// addDeleted appends a soft-deleted row.
func (d *dataset) addDeleted(name string, values ...any) int {
	id := d.add(name, values...)
	d.byName[name].deleted[id] = true
	return id
}

const (
	firstVersion = 1735711200000 // ms since 1970: 2025-01-01
	deletedAt    = "'2026-03-14 15:09:26+00'"
)

func (d *dataset) render() []byte {
	var b bytes.Buffer
	b.WriteString(head)
	version := int64(firstVersion)
	for _, t := range d.tables {
		columns := append(append([]string{}, t.columns...), "version_id")
		if !t.hard {
			columns = append(columns, "deleted_at")
		}
		fmt.Fprintf(&b, "\nINSERT INTO %s\n  (%s)\nVALUES\n", t.name, strings.Join(columns, ", "))
		for i, row := range t.rows {
			version += 61_007
			texts := []string{strconv.Itoa(i + 1)}
			for _, v := range row {
				texts = append(texts, literal(v))
			}
			texts = append(texts, strconv.FormatInt(version, 10))
			if t.deleted[i+1] {
				texts = append(texts, deletedAt)
			} else if !t.hard {
				texts = append(texts, "NULL")
			}
			end := ","
			if i == len(t.rows)-1 {
				end = ";"
			}
			fmt.Fprintf(&b, "  (%s)%s\n", strings.Join(texts, ", "), end)
		}
	}
	b.WriteString("\n-- The sequences go on after the ids above.\n")
	for _, t := range d.tables {
		fmt.Fprintf(&b, "SELECT setval('%s', (SELECT max(%s) FROM %s));\n", t.sequence, t.columns[0], t.name)
	}
	b.WriteString("\nCOMMIT;\n")
	return b.Bytes()
}

func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case int:
		return strconv.Itoa(v)
	case bool:
		return strconv.FormatBool(v)
	case expr:
		return string(v)
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	}
	panic(fmt.Sprintf("no literal for %T", v))
}

// day is a time so many days from the day on which the file is loaded. Minutes may exceed 59.
func day(offset, hour, minute int) expr {
	hour, minute = hour+minute/60, minute%60
	return expr(fmt.Sprintf("current_date + interval '%d days %02d:%02d'", offset, hour, minute))
}

// uuid returns a name-based UUID (version 5): constant for one kind and number, and random in appearance like OpenTera's own.
func uuid(kind string, n int) string {
	h := sha1.Sum(fmt.Appendf(nil, "terasocket demo/%s/%d", kind, n))
	h[6] = h[6]&0x0f | 0x50
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
