package server

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed" // web/
	"encoding/hex"

	"github.com/valyala/fasthttp"
	"sigs.k8s.io/yaml"
)

//go:embed web/tag.v1.js
var loaderSource []byte

//go:embed web/frame.html
var frameSource []byte

//go:embed web/demo.html
var demoSource []byte

// asset is a static file, compressed once.
type asset struct {
	plain, zipped []byte
	etag          string
	header        map[string]string
}

// forever is for paths that carry the hash of what they serve.
const forever = "public, max-age=31536000, immutable"

// loader is the script that pages load, and the document of the frames that it puts ads into.
type loader struct {
	short     *asset // /tag/v1.js: found anew within the hour
	immutable *asset // the same for good, for pages that pin it with an integrity hash
	frame     *asset
	// Paths of the last two.
	immutablePath, framePath string
}

func newLoader() *loader {
	header := func(typ, cache string) map[string]string {
		return map[string]string{"Content-Type": typ, "Cache-Control": cache,
			// Pages that require cross-origin isolation may load it too.
			"Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*"}
	}
	l := &loader{framePath: "/tag/frame-" + hashOf(frameSource) + ".html"}
	l.frame = newAsset(frameSource, header("text/html; charset=utf-8", forever))
	l.frame.header["Content-Security-Policy"] = string(sandboxed) // advertisers' markup on our origin, also when visited by itself
	l.frame.header["X-Robots-Tag"] = "noindex"
	script := squeeze(bytes.Replace(loaderSource, []byte("FRAME_PATH"), []byte(l.framePath), 1))
	l.immutablePath = "/tag/v1-" + hashOf(script) + ".js"
	l.short = newAsset(script, header("text/javascript; charset=utf-8", "public, max-age=3600, stale-while-revalidate=86400"))
	l.immutable = newAsset(script, header("text/javascript; charset=utf-8", forever))
	return l
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// squeeze leaves out indentation and lines that are comments. The loader has no text over several lines, which would suffer.
func squeeze(script []byte) []byte {
	var out []byte
	for line := range bytes.Lines(script) {
		if line = bytes.TrimSpace(line); len(line) == 0 || bytes.HasPrefix(line, []byte("//")) {
			continue
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

func demoAsset() *asset {
	return newAsset(demoSource, map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache", "X-Robots-Tag": "noindex",
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: https:; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'",
	})
}

func newAsset(plain []byte, header map[string]string) *asset {
	sum := sha256.Sum256(plain)
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(plain)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		z.Reset() // cannot happen on a buffer; serve it plain then
	}
	return &asset{plain: plain, zipped: z.Bytes(), etag: `"` + hex.EncodeToString(sum[:8]) + `"`, header: header}
}

func (a *asset) serve(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	for k, v := range a.header {
		h.Set(k, v)
	}
	h.Set("ETag", a.etag)
	h.Set("Vary", "Accept-Encoding")
	set(h, contentTypeOpts, noSniff)
	if string(ctx.Request.Header.Peek("If-None-Match")) == a.etag {
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	if len(a.zipped) > 0 && bytes.Contains(ctx.Request.Header.Peek("Accept-Encoding"), []byte("gzip")) {
		h.Set("Content-Encoding", "gzip")
		ctx.Response.SetBodyRaw(a.zipped)
		return
	}
	ctx.Response.SetBodyRaw(a.plain)
}

//go:embed openapi.yaml
var openapiSource []byte

// openapiAsset is the API's description as JSON. The document is compiled in and tested: a fault in it cannot come up later.
func openapiAsset() *asset {
	doc, err := yaml.YAMLToJSON(openapiSource)
	if err != nil {
		doc = []byte(`{"error":"the description is not YAML"}`)
	}
	return newAsset(doc, map[string]string{
		"Content-Type": "application/json; charset=utf-8", "Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*",
	})
}
