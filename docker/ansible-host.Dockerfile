# A host as a provider hands it over: Debian with systemd and SSH, a user who may become root, and nothing of Podium or
# Docker. tests/ansible turns such hosts into a cluster.

FROM debian:bookworm-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates dbus iproute2 openssh-server python3 sudo systemd systemd-sysv \
 && rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
 && systemctl mask getty.target console-getty.service systemd-logind.service systemd-udevd.service \
 && useradd --create-home --shell /bin/bash admin \
 && echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin \
 && install -d -o admin -g admin -m 0700 /home/admin/.ssh \
 && mkdir -p /etc/systemd/system/ssh.service.d \
 && printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
      >/etc/systemd/system/ssh.service.d/host-keys.conf
STOPSIGNAL SIGRTMIN+3
VOLUME /var/lib/docker
CMD ["/sbin/init"]
