output "endpoint" {
  # The instance's id is known only once it is there, like the real thing.
  value = "${local.name}.${substr(terraform_data.instance.id, 0, 8)}.${var.region}.rds.example.internal"
}

output "port" {
  value = 3306
}

output "database_name" {
  value = terraform_data.instance.output.database_name
}

output "password" {
  value     = substr(sha256(terraform_data.password.output), 0, 24)
  sensitive = true
}
