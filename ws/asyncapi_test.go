package ws

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"terasocket/proto/opentera"
	_ "terasocket/proto/terasocket"
)

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}

// asyncAPI is the part of docs/asyncapi.yaml that the code can be compared with.
type asyncAPI struct {
	Channels map[string]struct {
		Parameters map[string]struct{ Enum []string }
		Bindings   struct {
			WS struct {
				Query struct {
					Properties map[string]any
				}
			}
		}
	}
	CloseCodes map[int]struct {
		Reason   string
		ComeBack bool `yaml:"comeBack"`
	} `yaml:"x-close-codes"`
	Components struct {
		Schemas struct {
			Event struct {
				Properties map[string]struct{ Enum []string }
			} `yaml:"Event"`
		}
	}
}

// Close codes are API: each is documented with its number, reason and whether to come back.
func TestCloseCodesAreAPI(t *testing.T) {
	t.Parallel()
	var document asyncAPI
	readYAML(t, "../docs/asyncapi.yaml", &document)
	manual, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("close.go")
	if err != nil {
		t.Fatal(err)
	}
	ours := map[CloseCode]bool{CloseKicked: true, CloseProtocolError: true, CloseAbnormal: true, ClosePolicy: true, CloseTooBig: true, CloseInternal: true,
		CloseRestart: true, CloseSlow: true}
	if declared := regexp.MustCompile(`(?m)^\tClose\w+ +CloseCode = `).FindAllString(string(source), -1); len(declared) != len(ours) {
		t.Errorf("close.go declares %d codes, this test knows %d", len(declared), len(ours))
	}
	for code := range ours {
		described, ok := document.CloseCodes[int(code)]
		if !ok || described.Reason != code.Reason() || described.ComeBack != code.ComeBack() {
			t.Errorf("docs/asyncapi.yaml says %+v of %d; it is sent with %q, comeBack %t", described, code, code.Reason(), code.ComeBack())
		}
		if !strings.Contains(string(manual), strconv.Itoa(int(code))) {
			t.Errorf("docs/clients.md does not describe %d", code)
		}
	}
	for code := range document.CloseCodes {
		if !ours[CloseCode(code)] {
			t.Errorf("docs/asyncapi.yaml describes %d, which is never sent", code)
		}
	}
}

func TestAsyncAPIHasEveryMessageAndParameter(t *testing.T) {
	t.Parallel()
	var document asyncAPI
	readYAML(t, "../docs/asyncapi.yaml", &document)
	described := map[string]bool{}
	for _, url := range document.Components.Schemas.Event.Properties["@type"].Enum {
		described[url[strings.LastIndexByte(url, '/')+1:]] = true
		if _, err := protoregistry.GlobalTypes.FindMessageByURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	source, err := os.ReadFile("../proto/event/message.go")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`case "([a-z0-9.]+\.[A-Z]\w+)"`).FindAllStringSubmatch(string(source), -1)
	for _, name := range known {
		if !described[name[1]] {
			t.Errorf("docs/asyncapi.yaml does not describe %s", name[1])
		}
	}
	if len(known) < 8 {
		t.Errorf("only %d messages found in proto/event", len(known))
	}
	// the parameters of a handshake
	source, err = os.ReadFile("params.go")
	if err != nil {
		t.Fatal(err)
	}
	query := document.Channels["user"].Bindings.WS.Query.Properties
	read := regexp.MustCompile(`parameter\(query, "(\w+)"\)`).FindAllStringSubmatch(string(source), -1)
	for _, name := range read {
		if query[name[1]] == nil {
			t.Errorf("docs/asyncapi.yaml does not describe the parameter %s", name[1])
		}
	}
	if len(read) != len(query) {
		t.Errorf("%d parameters are read, docs/asyncapi.yaml describes %d", len(read), len(query))
	}
}

func TestOpenAPIHasEveryStatusOfAHandshake(t *testing.T) {
	t.Parallel()
	var document struct {
		Paths map[string]struct {
			Get struct{ Responses map[string]any }
		}
	}
	readYAML(t, "../docs/openapi.yaml", &document)
	numbers := map[string]int{}
	for code := 100; code < 600; code++ {
		numbers[regexp.MustCompile(`[^A-Za-z]`).ReplaceAllString(http.StatusText(code), "")] = code
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil || strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, name := range regexp.MustCompile(`http\.Status([A-Z]\w+)\b`).FindAllStringSubmatch(string(source), -1) {
			if name[1] == "Text" {
				continue
			}
			used++
			for _, kind := range []string{"user", "participant", "device"} {
				if document.Paths["/wss/"+kind].Get.Responses[fmt.Sprint(numbers[name[1]])] == nil {
					t.Errorf("docs/openapi.yaml does not describe %s (%d) of /wss/%s, in %s", name[1], numbers[name[1]], kind, file)
				}
			}
		}
	}
	if used < 5 {
		t.Errorf("only %d statuses found", used)
	}
}

// TestTheManualShowsRealFrames reads the two frames of docs/clients.md: one event, in both encodings.
func TestTheManualShowsRealFrames(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(language string) string {
		_, after, _ := strings.Cut(string(manual), "```"+language+"\n")
		text, _, ok := strings.Cut(after, "```")
		if !ok {
			t.Fatalf("docs/clients.md has no block of %s", language)
		}
		return text
	}
	inText := strings.Replace(block("json"), ", ...}", "}", 1)
	frame, err := hex.DecodeString(strings.ReplaceAll(block("hex"), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	var inJSON, inProtobuf opentera.TeraMessage
	if err := protojson.Unmarshal([]byte(inText), &inJSON); err != nil {
		t.Errorf("JSON: %v", err)
	}
	if err := proto.Unmarshal(frame, &inProtobuf); err != nil {
		t.Errorf("protobuf: %v", err)
	}
	var event opentera.TeraEvent
	if err := inProtobuf.GetMessage().UnmarshalTo(&event); err != nil || event.Header.GetSeq() == 0 {
		t.Fatalf("%v, %v", &event, err)
	}
	event.Header.Seq = nil // JSON has it only with since
	if err := inProtobuf.Message.MarshalFrom(&event); err != nil || !proto.Equal(&inJSON, &inProtobuf) {
		t.Errorf("%v is not %v (%v)", &inJSON, &inProtobuf, err)
	}
}
