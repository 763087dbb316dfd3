{{- define "h" }}
{{ .Values.image.tag }}
{{- end }}
