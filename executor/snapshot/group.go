package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"github.com/requorum/requorum/executor/snapshot/throwaway"
)

// sameDB gives the indexes of members whose db is the same: those of one list of
// members and one token.
func sameDB(list []shaped) [][]int {
	at := map[[2]string]int{}
	var groups [][]int
	for i, s := range list {
		key := [2]string{s.member.InitialCluster, s.member.Token}
		g, ok := at[key]
		if !ok {
			g = len(groups)
			at[key] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// writeGroup makes the db in the first member's directory while the logs are
// written, and then brings the others to it.
func (j *restoring) writeGroup(ctx context.Context, list []shaped, group []int) error {
	first, others := list[group[0]], group[1:]
	var work parallel
	work.do(first.member, func() error { return first.shapeDB(j.bumpTo()) })
	for _, i := range group {
		work.do(list[i].member, list[i].writeLog)
	}
	if err := work.wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	db, err := os.OpenFile(first.db(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer db.Close()
	var files []*os.File
	for _, i := range others {
		f, err := os.OpenFile(list[i].db(), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	var changed []span
	j.tell(group[0], "reading it back", 0)
	work.do(first.member, func() error { return j.readBack(ctx, first) })
	work.do(first.member, func() error { return j.keep(ctx, group[0], first) })
	if len(others) > 0 {
		work.do(list[others[0]].member, func() error {
			for _, i := range others {
				j.tell(i, "comparing its db", 0)
			}
			var err error
			changed, err = equalise(ctx, db, files)
			return err
		})
	}
	if err := work.wait(); err != nil {
		return err
	}
	for _, i := range others {
		work.do(list[i].member, func() error { return j.keep(ctx, i, list[i]) })
	}
	if err := work.wait(); err != nil {
		return err
	}
	if err := proveEqual(ctx, db, files, changed); err != nil {
		return err
	}
	for _, i := range group {
		if err := identity(list[i].member); err != nil {
			return fmt.Errorf("restoring %s to %s: %w", list[i].member.Name, list[i].member.OutDataDir, err)
		}
		j.tell(i, "restored", j.body)
	}
	return nil
}

// keep makes a member's files and folders durable.
func (j *restoring) keep(ctx context.Context, i int, s shaped) error {
	j.tell(i, "making it durable", 0)
	for _, dir := range []string{s.member.OutDataDir, s.member.OutWALDir} {
		if dir == "" {
			continue
		}
		if err := throwaway.SyncTree(ctx, dir); err != nil {
			return err
		}
	}
	return nil
}

// parallel is work for several members at once. etcd's code panics on what it
// does not expect: that is an error here.
type parallel struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (p *parallel) do(m RestoreMember, work func() error) {
	p.wg.Go(func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		var err error
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("etcd's own code: %v", r)
			}
			if err != nil {
				p.mu.Lock()
				p.errs = append(p.errs, fmt.Errorf("restoring %s to %s: %w", m.Name, m.OutDataDir, err))
				p.mu.Unlock()
			}
		}()
		err = work()
	})
}

func (p *parallel) wait() error {
	p.wg.Wait()
	return errors.Join(p.errs...)
}
