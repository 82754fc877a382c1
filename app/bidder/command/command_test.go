package command

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "POST /openrtb2"},
		{[]string{"--fill", "3"}, 2, "fill is 3"},
		{[]string{"now"}, 2, `"now" is not understood`},
		{[]string{"--nonsense"}, 2, "nonsense"},
		{[]string{"--listen", "127.0.0.1:99999"}, 1, "choose another address with --listen"},
	} {
		var out bytes.Buffer
		if code := Run(t.Context(), c.args, &out); code != c.code || !strings.Contains(out.String(), c.says) {
			t.Errorf("%v: %d, %s", c.args, code, out.String())
		}
	}
}

// It answers where it says, and ends with its context.
func TestServes(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, log := io.Pipe()
	ended := make(chan int, 1)
	go func() { ended <- Run(ctx, []string{"--listen", "127.0.0.1:0"}, log); log.Close() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	m := regexp.MustCompile(`url=(http://\S+)/openrtb2`).FindStringSubmatch(line)
	if err != nil || m == nil {
		t.Fatalf("%v: %s", err, line)
	}
	go io.Copy(io.Discard, out)
	res, err := http.Get(m[1] + "/readyz")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	res.Body.Close()
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("ended with %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("does not end")
	}
}
