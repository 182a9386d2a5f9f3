# One member on this machine: only what can't be guessed.

variable "client_port" {
  type    = number
  default = 2379
}

variable "peer_port" {
  type    = number
  default = 2380
}

variable "data" {
  type    = string
  default = "data" # beside this file
}

cluster "minimal" {
  member "m1" {
    peer_urls   = ["http://127.0.0.1:${var.peer_port}"]
    client_urls = ["http://127.0.0.1:${var.client_port}"]
    data_dir    = "${var.data}/m1"
  }
}
