variable "identifier" {
  description = "The database's name within its deployment"
  type        = string
}

variable "deployment" {
  type = string
}

variable "environment" {
  type = string
}

variable "size" {
  description = "Storage in GiB"
  type        = number
  default     = 20
}

variable "instance_class" {
  type    = string
  default = "db.t4g.micro"
}

variable "engine_version" {
  type    = string
  default = "8.4"
}

variable "database_name" {
  type    = string
  default = "app"
}

variable "region" {
  type    = string
  default = "eu-central-1"
}
