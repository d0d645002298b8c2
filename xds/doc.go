// Package xds turns virtual hosts into Envoy resources and serves them.
//
// One half is pure: Translate, TranslateEndpoints, Listeners and Bootstrap
// make messages out of values, and hold all of them against Envoy's rules
// before anything is sent. The other half is the cache and the delta ADS
// server, which decide what an Envoy is sent, and in which order.
//
// The package knows hosts, routes and services, as dag has resolved them. It
// reads no Kubernetes objects and no files, and decides no conflicts.
package xds
