# Makes a base root file system into one that hosts can be booted from. $1 is its
# folder.
set -eu
r=$1

# What each host has of its own comes with its seed.
rm -f "$r"/etc/ssh/ssh_host_* "$r/etc/hostname" "$r/etc/machine-id" "$r/var/lib/dbus/machine-id"
mkdir -p "$r/var/log/journal"

for user in ops guest; do
	chroot "$r" useradd --create-home --shell /bin/bash "$user"
done
echo 'ops ALL=(ALL) NOPASSWD: ALL' >"$r/etc/sudoers.d/ops"
chmod 0440 "$r/etc/sudoers.d/ops"

# Debian enables what it installs; here a test decides.
chroot "$r" systemctl disable etcd.service

# What would only take time. logind stays: without it a reboot over ssh fails.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	e2scrub_reap.service fstrim.timer console-getty.service getty.target \
	systemd-networkd-wait-online.service; do
	ln -sf /dev/null "$r/etc/systemd/system/$unit"
done
# Where tests look for each version; the others come with the hosts.
mkdir "$r/opt/etcd-3.4"
for program in etcd etcdctl; do
	ln -s "/usr/bin/$program" "$r/opt/etcd-3.4/$program"
done
chroot "$r" dpkg-query -W >"$r/packages.txt"
