# Three members on this machine, from a snapshot of a cluster that is lost.

variable "snapshot" {
  type    = string
  default = "snapshot.db" # as `etcdctl snapshot save` wrote it
}

variable "data" {
  type    = string
  default = "data" # beside this file
}

variable "ports" {
  type = map(object({ client = number, peer = number }))
  default = {
    m1 = { client = 22379, peer = 22380 }
    m2 = { client = 32379, peer = 32380 }
    m3 = { client = 42379, peer = 42380 }
  }
}

cluster "restored" {
  member "node" {
    for_each    = var.ports
    name        = each.key
    peer_urls   = ["http://127.0.0.1:${each.value.peer}"]
    client_urls = ["http://127.0.0.1:${each.value.client}"]
    data_dir    = "${var.data}/${each.key}"
  }

  snapshot { source = var.snapshot }
}
