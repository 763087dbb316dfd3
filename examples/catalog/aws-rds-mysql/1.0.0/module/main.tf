# Nothing but terraform_data: no provider to download, no account to have.

terraform {
  required_version = ">= 1.4"
}

locals {
  name = "${var.deployment}-${var.environment}-${var.identifier}"
}

# What cannot be changed in place: another engine version or region makes a new
# instance, as it does for RDS.
resource "terraform_data" "instance" {
  input = {
    name           = local.name
    size           = var.size
    instance_class = var.instance_class
    database_name  = var.database_name
  }
  triggers_replace = [var.engine_version, var.region]
}

# A password that stays: uuid() is new in every run, and changes of it are ignored.
resource "terraform_data" "password" {
  input = uuid()

  lifecycle {
    ignore_changes = [input]
  }
}
