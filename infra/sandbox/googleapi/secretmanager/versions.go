package secretmanager

import (
	"cmp"
	"context"
	"encoding/base64"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	api "google.golang.org/api/secretmanager/v1"

	"patag/infra/sandbox/filter"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// maxPayload is Google's limit on a secret's bytes.
const maxPayload = 64 << 10

func (s *server) addVersion(_ context.Context, r *googleapi.Request) (any, error) {
	var body api.AddSecretVersionRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if body.Payload == nil {
		return nil, googleapi.InvalidArgument("The payload is required.")
	}
	payload, err := decodeBase64(body.Payload.Data)
	if err != nil {
		return nil, googleapi.InvalidArgument("Invalid value at 'payload.data' (TYPE_BYTES), Base64 decoding failed.") // without the data
	}
	if len(payload) > maxPayload {
		return nil, googleapi.InvalidArgument("The payload has %d bytes; the maximum is %d.", len(payload), maxPayload)
	}
	sum := checksum(payload)
	if body.Payload.DataCrc32c != 0 && body.Payload.DataCrc32c != sum {
		return nil, googleapi.InvalidArgument("The CRC32C checksum of the payload does not match the given one.")
	}
	var v googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		secret, err := s.secret(tx, r)
		if err != nil {
			return err
		}
		key := s.secretKey(r)
		var n int64
		if _, err := tx.Get(counterKey(key), &n); err != nil {
			return err
		}
		n++ // numbers of destroyed versions are never used again
		v = googleapi.Doc{"name": name(r.Var("project"), r.Var("id")) + "/versions/" + strconv.FormatInt(n, 10), "state": "ENABLED",
			"createTime": stamp(s.core.Now()), "replicationStatus": status(secret)}
		if body.Payload.DataCrc32c != 0 {
			v["clientSpecifiedPayloadChecksum"] = true
		}
		setEtag(v)
		sealed, err := s.key.seal(payload, payloadKey(key, n))
		if err != nil {
			return err
		}
		for k, d := range map[string]any{counterKey(key): n, versionKey(key, n): v, payloadKey(key, n): sealed} {
			if err := tx.Put(k, d); err != nil {
				return err
			}
		}
		return nil
	})
	return v, err
}

// decodeBase64 takes both alphabets, as Google does for bytes.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
	return base64.RawStdEncoding.DecodeString(s)
}

func checksum(b []byte) int64 {
	return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func status(secret googleapi.Doc) googleapi.Doc {
	replicas := secret.Docs("replication", "userManaged", "replicas")
	if replicas == nil {
		return googleapi.Doc{"automatic": googleapi.Doc{}}
	}
	var out []any
	for _, r := range replicas {
		out = append(out, map[string]any{"location": r.String("location")})
	}
	return googleapi.Doc{"userManaged": googleapi.Doc{"replicas": out}}
}

func setEtag(v googleapi.Doc) {
	v.Drop("etag")
	v["etag"] = `"` + strings.TrimRight(googleapi.Fingerprint(v), "=") + `"`
}

// version finds the version that the request names: a number, an alias, or "latest".
func (s *server) version(tx store.Tx, r *googleapi.Request) (v googleapi.Doc, n int64, err error) {
	secret, err := s.secret(tx, r)
	if err != nil {
		return nil, 0, err
	}
	key := s.secretKey(r)
	which := r.Var("n")
	missing := s.notFound("projects/" + r.Var("project") + "/secrets/" + r.Var("id") + "/versions/" + which)
	if which == "latest" { // the newest that is not destroyed
		all, err := s.versions(tx, key)
		if err != nil {
			return nil, 0, err
		}
		for _, v := range all {
			if v.String("state") != "DESTROYED" {
				return v, number(v), nil
			}
		}
		return nil, 0, missing
	}
	if alias := secret.StringMap("versionAliases")[which]; alias != "" {
		which = alias
	}
	n, err = strconv.ParseInt(which, 10, 64)
	if err != nil {
		return nil, 0, missing
	}
	found, err := tx.Get(versionKey(key, n), &v)
	if err == nil && !found {
		err = missing
	}
	return v, n, err
}

func number(v googleapi.Doc) int64 {
	full := v.String("name")
	n, _ := strconv.ParseInt(full[strings.LastIndex(full, "/")+1:], 10, 64)
	return n
}

// versions gives all versions of a secret, newest first as Google lists them.
func (s *server) versions(tx store.Tx, secretKey string) ([]googleapi.Doc, error) {
	all, err := googleapi.Children(tx, secretKey+"/versions")
	slices.SortFunc(all, func(a, b googleapi.Doc) int { return cmp.Compare(number(b), number(a)) })
	return all, err
}

func (s *server) getVersion(_ context.Context, r *googleapi.Request) (any, error) {
	var v googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { v, _, err = s.version(tx, r); return err })
	return v, err
}

func (s *server) listVersions(_ context.Context, r *googleapi.Request) (any, error) {
	f, err := filter.Parse(r.Query("filter"), filter.Dialect{Text: true, FoldCase: true})
	if err != nil {
		return nil, googleapi.InvalidArgument("Invalid filter: %v", err)
	}
	var all []googleapi.Doc
	err = s.core.Store().View(func(tx store.Tx) error {
		if _, err := s.secret(tx, r); err != nil {
			return err
		}
		var err error
		all, err = s.versions(tx, s.secretKey(r))
		return err
	})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d googleapi.Doc) bool { return !f.Match(d) })
	page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("name") }, 25000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"totalSize": len(all)}
	if len(page.Items) > 0 {
		out["versions"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func (s *server) access(_ context.Context, r *googleapi.Request) (any, error) {
	var v googleapi.Doc
	var payload []byte
	err := s.core.Store().View(func(tx store.Tx) (err error) {
		var n int64
		if v, n, err = s.version(tx, r); err != nil {
			return err
		}
		if state := v.String("state"); state != "ENABLED" {
			return googleapi.FailedPrecondition("Secret Version [%s] is in %s state.", v.String("name"), state)
		}
		key := payloadKey(s.secretKey(r), n)
		var sealed []byte
		if _, err = tx.Get(key, &sealed); err == nil {
			payload, err = s.key.open(sealed, key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return googleapi.Doc{"name": v["name"], "payload": googleapi.Doc{
		"data": base64.StdEncoding.EncodeToString(payload), "dataCrc32c": strconv.FormatInt(checksum(payload), 10)}}, nil
}

func (s *server) setState(verb string) googleapi.Handler {
	state := map[string]string{"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[verb]
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		var body struct {
			Etag string `json:"etag"`
		}
		if err := r.Decode(&body); err != nil {
			return nil, err
		}
		var v googleapi.Doc
		err := s.core.Store().Update(func(tx store.Tx) (err error) {
			var n int64
			if v, n, err = s.version(tx, r); err != nil {
				return err
			}
			if body.Etag != "" && body.Etag != v.String("etag") {
				return googleapi.Aborted("The etag of Secret Version [%s] does not match: it was changed meanwhile.", v.String("name"))
			}
			key := s.secretKey(r)
			if v.String("state") == "DESTROYED" {
				return googleapi.FailedPrecondition("Secret Version [%s] is in DESTROYED state.", v.String("name"))
			}
			if state == "DESTROYED" {
				v["state"], v["destroyTime"] = state, stamp(s.core.Now())
				if err := tx.Delete(payloadKey(key, n)); err != nil {
					return err
				}
			} else {
				v["state"] = state
			}
			setEtag(v)
			return tx.Put(versionKey(key, n), v)
		})
		return v, err
	}
}
