package images

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"
)

// PushOptions say how to reach a registry.
type PushOptions struct {
	// Base is what references start with: "europe-west1-docker.pkg.dev/<project>/<repository>".
	Base string
	// Remote carries transport (a registry that answers under another address has a dialer of its own there) and authenticator.
	Remote []remote.Option
	// Name options, such as name.Insecure for plain HTTP on other hosts than loopback.
	Name []name.Option
	// Progress is told one line per image; may be nil.
	Progress func(line string)
}

// Push uploads what the registry does not have and returns references by digest: Base/<name>@sha256:….
func Push(ctx context.Context, images map[string]v1.Image, o PushOptions) (map[string]string, error) {
	refs := make(map[string]string, len(images))
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	opts := append([]remote.Option{remote.WithContext(ctx)}, o.Remote...)
	for n, img := range images {
		g.Go(func() error {
			ref, sent, err := push(o, n, img, opts)
			if err != nil {
				return fmt.Errorf("push image %s to %s: %w", n, o.Base, err)
			}
			mu.Lock()
			defer mu.Unlock()
			refs[n] = ref
			if o.Progress != nil {
				verb := "is there already"
				if sent {
					verb = "pushed"
				}
				o.Progress(fmt.Sprintf("image %s: %s (%s)", n, verb, ref))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return refs, nil
}

func push(o PushOptions, n string, img v1.Image, opts []remote.Option) (ref string, sent bool, err error) {
	digest, err := img.Digest()
	if err != nil {
		return "", false, err
	}
	byDigest, err := name.NewDigest(o.Base+"/"+n+"@"+digest.String(), o.Name...)
	if err != nil {
		return "", false, err
	}
	_, err = remote.Head(byDigest, opts...)
	switch {
	case err == nil:
		return byDigest.String(), false, nil
	case !notFound(err):
		return "", false, err
	}
	// A tag too: registries' clean-up policies take what has none.
	tag, err := name.NewTag(o.Base+"/"+n+":"+digest.Hex[:16], o.Name...)
	if err != nil {
		return "", false, err
	}
	if err := remote.Write(tag, img, opts...); err != nil {
		return "", false, err
	}
	return byDigest.String(), true, nil
}

func notFound(err error) bool {
	var te *transport.Error
	return errors.As(err, &te) && te.StatusCode == http.StatusNotFound
}
