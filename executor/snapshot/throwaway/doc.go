// Package throwaway has what a throwaway copy of a member needs: to be made, to be
// run as an etcd that can't outlive this process, and to be made durable where
// something of it is kept.
package throwaway
