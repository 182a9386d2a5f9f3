# Runs one host, as the first process of its cgroup and of a mount namespace of its
# own, until it is powered off. All that is mounted here ends with the namespace.
set -eu
dir=$1 name=$2 netns=$3 base=$4
shift 4 # the rest goes to systemd-nspawn

umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /run/systemd/nspawn
mount -t tmpfs none /run/systemd/nspawn
# It has a node for each loop device, as many as are needed.
mount -t devtmpfs none /dev 2>/dev/null || true # busy where it is there already

mount -o loop "$dir/system.img" "$dir/system"
if [ ! -e "$dir/system/work" ]; then
	mkdir "$dir/system/upper.part"
	cp -a "$dir/seed/." "$dir/system/upper.part/"
	mv "$dir/system/upper.part" "$dir/system/upper"
	mkdir "$dir/system/work"
	sync -f "$dir/system"
fi
mount -t overlay -o "lowerdir=$base,upperdir=$dir/system/upper,workdir=$dir/system/work" overlay "$dir/root"

mount -o loop "$dir/data.img" "$dir/data"
if [ ! -e "$dir/data.used" ]; then
	chown --reference="$base/var/lib/etcd" "$dir/data"
	chmod --reference="$base/var/lib/etcd" "$dir/data"
	sync -f "$dir/data"
	: >"$dir/data.used"
fi
mount --bind "$dir/data" "$dir/root/var/lib/etcd"

while :; do
	code=0
	systemd-nspawn --quiet --directory="$dir/root" --machine="$name" --register=no --keep-unit \
		--network-namespace-path="$netns" --resolv-conf=off --timezone=off --link-journal=no \
		--console=pipe --capability=CAP_NET_ADMIN "$@" --boot \
		systemd.unified_cgroup_hierarchy=1 </dev/null || code=$?
	[ "$code" = 133 ] || exit "$code" # 133: the guest wants a reboot
	echo "== reboot"
done
