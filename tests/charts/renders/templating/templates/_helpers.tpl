{{- define "templating.helper" -}}
{{ printf "%s/%d" .Release.Name (len .Values.list) }}
{{- end -}}
{{- define "templating.recurse" -}}
{{- if gt (int .) 0 }}{{ . }},{{ include "templating.recurse" (sub (int .) 1) }}{{ end -}}
{{- end -}}
