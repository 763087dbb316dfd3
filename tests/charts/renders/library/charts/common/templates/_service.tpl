{{- define "common.color" }}red{{ end }}
{{- define "common.labels" -}}
app: {{ .Release.Name }}
color: {{ include "common.color" . }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- define "common.service" }}
apiVersion: v1
kind: Service
metadata:
  name: {{ .root.Release.Name }}
  labels:
    {{- include "common.labels" .root | nindent 4 }}
spec:
  ports:
    {{- range $i, $p := .ports }}
    - {name: p{{ $i }}, port: {{ $p }}}
    {{- end }}
{{- end }}
