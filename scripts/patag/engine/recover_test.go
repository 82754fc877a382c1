package engine

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestGuessID(t *testing.T) {
	defaults := map[string]string{"project": "p", "region": "r"}
	cases := []struct {
		kind   string
		inputs map[string]any
		want   string
	}{
		{"gcp:compute/network:Network", map[string]any{"name": "n"}, "projects/p/global/networks/n"},
		{"gcp:compute/network:Network", map[string]any{"name": "n", "project": "q"}, "projects/q/global/networks/n"},
		{"gcp:compute/network:Network", map[string]any{}, ""},
		{"gcp:compute/subnetwork:Subnetwork", map[string]any{"name": "n"}, "projects/p/regions/r/subnetworks/n"},
		{"gcp:compute/routerNat:RouterNat", map[string]any{"name": "n", "router": "projects/p/regions/r/routers/x"}, "p/r/x/n"},
		{"gcp:container/nodePool:NodePool", map[string]any{"name": "n", "cluster": "projects/p/locations/z/clusters/c", "location": "z"}, "projects/p/locations/z/clusters/c/nodePools/n"},
		{"gcp:serviceaccount/account:Account", map[string]any{"accountId": "tag"}, "projects/p/serviceAccounts/tag@p.iam.gserviceaccount.com"},
		{"gcp:dns/recordSet:RecordSet", map[string]any{"name": "tag.x.", "type": "A", "managedZone": "z"}, "projects/p/managedZones/z/rrsets/tag.x./A"},
		{"gcp:storage/bucketObject:BucketObject", map[string]any{"name": "a/b", "bucket": "k"}, "k-a/b"},
		{"gcp:monitoring/alertPolicy:AlertPolicy", map[string]any{"displayName": "x"}, ""},
		{"kubernetes:core/v1:Service", map[string]any{"metadata": map[string]any{"name": "s", "namespace": "ns"}}, "ns/s"},
		{"kubernetes:core/v1:Service", map[string]any{"metadata": map[string]any{"name": "s"}}, "default/s"},
		{"kubernetes:core/v1:Namespace", map[string]any{"metadata": map[string]any{"name": "s"}}, "s"},
		{"kubernetes:core/v1:Service", map[string]any{}, ""},
	}
	for _, c := range cases {
		if got, ok := guessID(c.kind, c.inputs, defaults); got != c.want || ok != (c.want != "") {
			t.Errorf("%s %v: %q, want %q", c.kind, c.inputs, got, c.want)
		}
	}
}

const interrupted = `{"manifest":{"magic":"m"},"secrets_providers":{"type":"passphrase"},"resources":[
 {"urn":"urn:pulumi:s::p::pulumi:providers:gcp::default","type":"pulumi:providers:gcp","custom":true,"id":"1","inputs":{"project":"proj"}},
 {"urn":"urn:pulumi:s::p::gcp:storage/bucket:Bucket::old","type":"gcp:storage/bucket:Bucket","custom":true,"id":"old-1","inputs":{"big":12345678901234567890}},
 {"urn":"urn:pulumi:s::p::kubernetes:batch/v1:Job::import","type":"kubernetes:batch/v1:Job","custom":true,"id":"ns/import-1","inputs":{}}],
 "pending_operations":[
 {"type":"creating","resource":{"urn":"urn:pulumi:s::p::gcp:compute/network:Network::net","type":"gcp:compute/network:Network","custom":true,"inputs":{"name":"net-1"},"provider":"urn:pulumi:s::p::pulumi:providers:gcp::default::1"}},
 {"type":"creating","resource":{"urn":"urn:pulumi:s::p::gcp:storage/bucket:Bucket::old","type":"gcp:storage/bucket:Bucket","custom":true,"inputs":{"name":"old-2"}}},
 {"type":"creating","resource":{"urn":"urn:pulumi:s::p::kubernetes:batch/v1:Job::import","type":"kubernetes:batch/v1:Job","custom":true,"inputs":{"metadata":{"name":"import-2","namespace":"ns"}}}},
 {"type":"creating","resource":{"urn":"urn:pulumi:s::p::gcp:monitoring/alertPolicy:AlertPolicy::slow","type":"gcp:monitoring/alertPolicy:AlertPolicy","custom":true,"inputs":{}}},
 {"type":"creating","resource":{"urn":"urn:pulumi:s::p::patag:redis:Redis::redis","type":"patag:redis:Redis"}},
 {"type":"deleting","resource":{"urn":"urn:pulumi:s::p::gcp:storage/bucket:Bucket::gone","type":"gcp:storage/bucket:Bucket","custom":true,"id":"gone"}},
 {"type":"updating","resource":{"urn":"urn:pulumi:s::p::gcp:storage/bucket:Bucket::old","type":"gcp:storage/bucket:Bucket","custom":true,"id":"old-1"}}]}`

func TestSettle(t *testing.T) {
	st, err := parseState(json.RawMessage(interrupted))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	adopted, targets := st.settle(func(format string, args ...any) { said = append(said, format) })
	if got := strings.Join(targets, " "); got != "urn:pulumi:s::p::gcp:compute/network:Network::net urn:pulumi:s::p::gcp:storage/bucket:Bucket::old" {
		t.Errorf("targets: %s", got)
	}
	if len(adopted) != 2 || len(said) != 1 {
		t.Errorf("adopted %v, said %v", adopted, said)
	}
	raw, err := st.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"id":"projects/proj/global/networks/net-1"`, `"delete":true`, `"id":"old-2"`, `12345678901234567890`, `"magic":"m"`, `"passphrase"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}
	if strings.Contains(string(raw), "import-2") { // the run applies it again, and a deletion that is noted would take that one
		t.Errorf("the replacement of an object is noted for deletion: %s", raw)
	}
	if strings.Contains(string(raw), `"type":"creating"`) {
		t.Errorf("operations are still pending: %s", raw)
	}
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte(interrupted))
	f.Add([]byte(`{"resources":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		st, err := parseState(raw)
		if err != nil {
			return
		}
		st.summary()
		st.settle(func(string, ...any) {})
		if _, err := st.encode(); err != nil {
			t.Error(err)
		}
	})
}

func TestAlive(t *testing.T) {
	if !alive(holder{PID: os.Getpid(), Timestamp: time.Now()}) {
		t.Error("this process is said to be dead")
	}
	if alive(holder{PID: os.Getpid(), Timestamp: time.Now().Add(-24 * time.Hour)}) {
		t.Error("this process is said to be one of yesterday")
	}
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	if alive(holder{PID: dead.Process.Pid, Timestamp: time.Now()}) {
		t.Error("an ended process is said to live")
	}
	// One that nobody has reaped holds nothing any more.
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); alive(holder{PID: zombie.Process.Pid, Timestamp: time.Now()}); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a zombie is said to live")
		}
	}
	_ = zombie.Wait()
}
