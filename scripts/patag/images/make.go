package images

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	builder "patag/scripts/images"
	"patag/scripts/patag/app"
)

// Make builds the images and, when told, pushes them. It answers references by digest.
func Make(ctx context.Context, r app.ImagesRequest) (map[string]string, error) {
	built, err := builder.Build(ctx, builder.Options{
		ProjectRoot: r.ProjectRoot, ToolsDir: r.ToolsDir, CacheDir: r.CacheDir, Locked: r.Locked, Progress: r.Progress, Notice: r.Notice,
	})
	if err != nil {
		return nil, err
	}
	if r.Push {
		// Artifact Registry takes an access token as the password of this user.
		options := []remote.Option{remote.WithAuth(&authn.Basic{Username: "oauth2accesstoken", Password: r.Token})}
		if r.Transport != nil {
			options = append(options, remote.WithTransport(r.Transport))
		}
		return builder.Push(ctx, built, builder.PushOptions{Base: r.Base, Remote: options, Progress: r.Progress})
	}
	refs := map[string]string{}
	var all []error
	for name, img := range built {
		digest, err := img.Digest()
		if err != nil {
			all = append(all, fmt.Errorf("digest of image %s: %w", name, err))
			continue
		}
		refs[name] = r.Base + "/" + name + "@" + digest.String()
	}
	return refs, errors.Join(all...)
}
