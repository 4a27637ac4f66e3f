# One batch on each of these servers. Each has two host volumes. That of the store is on a local disk, and belongs to user 1000:
#
#   client {
#     host_volume "cxnpoll" { path = "/var/lib/cxnpoll" }
#     host_volume "cxnpoll-config" { path = "/etc/cxnpoll" }
#   }
#
# A batch stays on its server, as its store is there. `nomad job run -var 'servers=["a","b"]' nomad.hcl`
variable "servers" {
  type    = list(string)
  default = ["poll1", "poll2", "poll3"]
}

job "cxnpoll" {
  datacenters = ["*"]
  type        = "batch"

  periodic {
    crons            = ["*/5 * * * *"]
    prohibit_overlap = true
  }

  dynamic "group" {
    for_each = var.servers
    labels   = ["batch-${group.key}"]

    content {
      constraint {
        attribute = "${node.unique.name}"
        value     = group.value
      }

      # The next run is the retry.
      restart {
        attempts = 0
        mode     = "fail"
      }

      reschedule {
        attempts  = 0
        unlimited = false
      }

      volume "store" {
        type   = "host"
        source = "cxnpoll"
      }

      volume "config" {
        type      = "host"
        source    = "cxnpoll-config"
        read_only = true
      }

      task "poll" {
        driver = "docker"
        user   = "1000:1000"

        # Polls in flight end, and their outcomes are recorded. The client's max_kill_timeout is 30 s by default.
        kill_timeout = "2m"

        config {
          image = "registry.example.org/cxnpoll:0.1.0"

          # The next runs wait for the slowest batch, so --max-runtime bounds it.
          args = ["poll", "org.civicrm.myapp", "--batch=${group.key}/${length(var.servers)}", "--max-runtime=4m"]
        }

        volume_mount {
          volume      = "store"
          destination = "/data"
        }

        volume_mount {
          volume      = "config"
          destination = "/etc/cxnpoll"
          read_only   = true
        }

        resources {
          cpu    = 200
          memory = 512
        }
      }
    }
  }
}
