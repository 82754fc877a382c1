package stacks

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/bidder"
	"patag/infra/kube"
	"patag/infra/tagserver"
	"patag/stacks/config"
)

// demoSource is the demand source of the demo catalogue that asks the demo bidder.
const demoSource = "demo-bidder"

// bid makes the demo bidder, if the stack wants one, and says what the tag servers reach it by.
func bid(ctx *pulumi.Context, s *config.Settings, target *kube.Target) ([]tagserver.Upstream, error) {
	if !s.DemoBidder {
		return nil, nil
	}
	if _, err := bidder.New(ctx, "bidder", &bidder.Args{Target: target, Image: pulumi.String(s.Images.Tag), NodeSelector: onPool(poolStandard)}); err != nil {
		return nil, err
	}
	return []tagserver.Upstream{{Part: bidder.Part, Port: bidder.Port}}, nil
}

// askBidder gives the demo source of a catalogue the endpoint of the stack's own bidder. A catalogue without that source stays as it is:
// the file may be anybody's.
func askBidder(catalogue []byte, endpoint string) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(catalogue, &doc); err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	var sources []map[string]json.RawMessage
	if raw := doc["demandSources"]; raw != nil {
		if err := json.Unmarshal(raw, &sources); err != nil {
			return nil, fmt.Errorf("read the catalogue's demandSources: %w", err)
		}
	}
	found := false
	for _, source := range sources {
		var id string
		if json.Unmarshal(source["id"], &id) != nil || id != demoSource {
			continue
		}
		quoted, err := json.Marshal(endpoint)
		if err != nil {
			return nil, err
		}
		source["endpoint"], found = quoted, true
	}
	if !found {
		return catalogue, nil
	}
	var err error
	if doc["demandSources"], err = plainJSON(sources); err != nil {
		return nil, err
	}
	return plainJSON(doc)
}

// plainJSON leaves markup readable.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
