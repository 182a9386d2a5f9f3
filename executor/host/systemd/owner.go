package systemd

import (
	"context"
	"errors"
	"os/user"
	"strconv"
)

// Owner is whom a unit's process runs as.
type Owner struct {
	Name     string
	UID, GID int
	Groups   []int
}

// Owner says whom the unit runs its process as. One that is not there yet will be
// requorum's own, and root's.
func (u Unit) Owner(ctx context.Context) (Owner, error) {
	p, err := show(ctx, askLimit, u.Name)
	if errors.Is(err, errAbsent) {
		return Owner{Name: "root"}, nil
	}
	if err != nil {
		return Owner{}, err
	}
	o, err := u.owner(p)
	out := Owner{Name: o.name, UID: o.uid, GID: o.gid}
	if err != nil || o.uid == 0 {
		return out, err
	}
	who, err := user.LookupId(strconv.Itoa(o.uid))
	if err != nil {
		return out, err
	}
	ids, err := who.GroupIds()
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil {
			out.Groups = append(out.Groups, n)
		}
	}
	return out, err
}
