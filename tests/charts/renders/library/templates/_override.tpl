{{- define "common.color" }}blue{{ end }}
