# Three members, one of which has lost its disk: the file of every day.

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

cluster "replaced" {
  member "node" {
    for_each    = var.ports
    name        = each.key
    peer_urls   = ["http://127.0.0.1:${each.value.peer}"]
    client_urls = ["http://127.0.0.1:${each.value.client}"]
    data_dir    = "${var.data}/${each.key}"
  }
}
