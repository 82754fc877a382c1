package compute

import (
	"context"
	"slices"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
)

// images are a few of the public ones. Names and sizes are of the releases of autumn 2026 as this sandbox has them;
// a family gives the newest.
var images = []struct{ project, family, name, description, disk string }{
	{"debian-cloud", "debian-12", "debian-12-bookworm-v20261015", "Debian, Debian GNU/Linux, 12 (bookworm), amd64", "10"},
	{"debian-cloud", "debian-13", "debian-13-trixie-v20261015", "Debian, Debian GNU/Linux, 13 (trixie), amd64", "10"},
	{"cos-cloud", "cos-stable", "cos-stable-121-18867-90-62", "Google, Container-Optimized OS, 121 LTS", "10"},
	{"cos-cloud", "cos-121-lts", "cos-121-18867-90-62", "Google, Container-Optimized OS, 121 LTS", "10"},
}

func isImageProject(project string) bool {
	return slices.ContainsFunc(images, func(i struct{ project, family, name, description, disk string }) bool { return i.project == project })
}

func (s *Service) registerImages() {
	const base = "projects/{project}/global/images"
	of := func(project string) (docs []googleapi.Doc) {
		for _, i := range images {
			if i.project != project {
				continue
			}
			path := "projects/" + project + "/global/images/" + i.name
			docs = append(docs, googleapi.Doc{"kind": "compute#image", "id": fixedID(path), "name": i.name, "family": i.family, "description": i.description,
				"creationTimestamp": "2026-10-15T08:00:00.000-07:00", "status": "READY", "sourceType": "RAW", "diskSizeGb": i.disk, "archiveSizeBytes": "1000000000",
				"architecture": "X86_64", "selfLink": Link(path), "rawDisk": googleapi.Doc{"containerType": "TAR", "source": ""},
				"licenses":        []any{Link("projects/" + project + "/global/licenses/" + i.family)},
				"guestOsFeatures": []any{googleapi.Doc{"type": "UEFI_COMPATIBLE"}, googleapi.Doc{"type": "VIRTIO_SCSI_MULTIQUEUE"}, googleapi.Doc{"type": "GVNIC"}}})
		}
		return docs
	}
	s.handle("GET", base, func(_ context.Context, r *googleapi.Request) (any, error) {
		return s.answerList(r, api.Image{}, "compute#imageList", of(r.Var("project")))
	})
	find := func(field, variable string) googleapi.Handler {
		return func(_ context.Context, r *googleapi.Request) (any, error) {
			for _, d := range of(r.Var("project")) {
				if d.String(field) == r.Var(variable) {
					return d, nil
				}
			}
			return nil, notFound(restPath(r))
		}
	}
	s.handle("GET", base+"/{name}", find("name", "name"))
	s.handle("GET", base+"/family/{family}", find("family", "family"))
}
