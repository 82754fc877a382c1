package command

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"patag/app/tag/server"
	"patag/app/tag/token"
)

// preview prints a signed link that shows, step by step, why a placement shows what it shows. It needs the servers' key and nothing
// else; that the placement exists is found out when the link is opened.
func preview(_ context.Context, args []string, s streams) error {
	f := flag.NewFlagSet("tag preview", flag.ContinueOnError)
	var p token.Preview
	f.StringVar(&p.Placement, "placement", "", "placement to look at")
	f.StringVar(&p.LineItem, "line-item", "", "show this line item whatever the decision")
	f.StringVar(&p.Creative, "creative", "", "show this creative whatever the decision")
	keyFile := f.String("key-file", os.Getenv("TAG_KEY_FILE"), "file of the keys that sign tokens (TAG_KEY_FILE)")
	base := f.String("public-url", os.Getenv("TAG_PUBLIC_URL"), "scheme and host of the tag servers (TAG_PUBLIC_URL)")
	lasts := f.Duration("expires", 24*time.Hour, "how long the link is good for")
	if err := parse(f, args, s); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return usageError(fmt.Sprintf("unexpected argument %q", f.Arg(0)))
	}
	if err := server.CheckPreview(&p, *lasts); err != nil {
		return usageError("preview: " + err.Error())
	}
	if *keyFile == "" {
		return usageError("preview: no token key: set --key-file or TAG_KEY_FILE to that of the servers (a server with a random key signs links itself: /debug/preview on its admin port)")
	}
	keys, err := token.LoadKeys(*keyFile)
	if err != nil {
		return err
	}
	if *base == "" {
		*base = "http://127.0.0.1:8080"
	}
	p.Until = time.Now().Add(*lasts)
	fmt.Fprintln(s.out, server.PreviewURL(strings.TrimSuffix(*base, "/"), keys, &p))
	return nil
}
