// Command gendemo writes demo.sql, the data of the demo installation. It is
// deterministic: the same program writes the same file.
//
//	go run ./gendemo demo.sql
package main

import (
	"fmt"
	"math/rand/v2"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendemo FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], generate(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "gendemo:", err)
		os.Exit(1)
	}
}

// demo is the installation under construction: the rows so far, and what later tables refer to.
type demo struct {
	*dataset
	random *rand.Rand

	userNames        map[int]string // by id_user
	participantNames map[int]string
	participantsOf   map[int][]int // id_project -> enabled participants
	devicesOf        map[int][]int // id_project -> enabled devices
	therapistsOf     map[int][]int // id_project -> enabled users with a direct OpenTera role
	sessions         []session
}

func generate() []byte {
	d := &demo{
		dataset:          newDataset(),
		random:           rand.New(rand.NewPCG(1989, 12)),
		userNames:        map[int]string{},
		participantNames: map[int]string{},
		participantsOf:   map[int][]int{},
		devicesOf:        map[int][]int{},
		therapistsOf:     map[int][]int{},
	}
	d.addServerSettings()
	d.addSites()
	d.addServices()
	d.addUsers()
	d.addParticipants()
	d.addDevices()
	d.addAccess()
	d.addTypes()
	d.addSessions()
	d.addAssets()
	d.addTests()
	d.addServiceConfigs()
	return d.render()
}
