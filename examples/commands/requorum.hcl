# Three members that a script of your own starts and stops, in the place of systemd
# or of requorum's supervisor.

variable "keeper" {
  type    = string
  default = "/usr/local/lib/etcd-keeper" # on the members' hosts
}

variable "etcd" {
  type    = string
  default = "/usr/local/bin/etcd"
}

variable "data" {
  type    = string
  default = "data" # beside this file
}

variable "ports" {
  type = map(object({ client = number, peer = number }))
  default = {
    m1 = { client = 2379, peer = 2380 }
    m2 = { client = 22379, peer = 22380 }
    m3 = { client = 32379, peer = 32380 }
  }
}

host "here" {
  for_each = var.ports
  name     = each.key
  service "command" {
    start  = [var.keeper, "start", each.key, var.etcd]
    stop   = [var.keeper, "stop", each.key]
    status = [var.keeper, "status", each.key]
  }
}

cluster "kept" {
  etcd { binary = var.etcd } # which etcd the start command runs

  member "node" {
    for_each    = var.ports
    name        = each.key
    host        = each.key
    peer_urls   = ["http://127.0.0.1:${each.value.peer}"]
    client_urls = ["http://127.0.0.1:${each.value.client}"]
    data_dir    = "${var.data}/${each.key}"
  }
}
