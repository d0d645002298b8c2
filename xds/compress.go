package xds

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	brotliv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/brotli/compressor/v3"
	gzipv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	zstdv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/zstd/compressor/v3"
	compressorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

// Compression of the responses to clients that accept it.
type Compression int

// The algorithms, and none.
const (
	Gzip Compression = iota
	Brotli
	Zstd
	Uncompressed
)

// compressor is nil where nothing is to be compressed; else it compresses the
// responses of the types that Envoy takes for compressible, and no partial
// ones: their ranges are counted in what the upstream has.
func compressor(c Compression) *hcmv3.HttpFilter {
	var name string
	var library proto.Message
	switch c {
	case Gzip:
		name, library = "envoy.compression.gzip.compressor", &gzipv3.Gzip{}
	case Brotli:
		name, library = "envoy.compression.brotli.compressor", &brotliv3.Brotli{}
	case Zstd:
		name, library = "envoy.compression.zstd.compressor", &zstdv3.Zstd{}
	default:
		return nil
	}
	const partialContent = 206
	return httpFilter("envoy.filters.http.compressor", &compressorv3.Compressor{
		CompressorLibrary: &corev3.TypedExtensionConfig{Name: name, TypedConfig: mustAny(library)},
		ResponseDirectionConfig: &compressorv3.Compressor_ResponseDirectionConfig{
			UncompressibleResponseCodes: []uint32{partialContent},
		},
	})
}
