// Package limits names every bound of the helm engine, with its reason. The
// host bounds memory, CPU and wall time of a call besides (engine.toml); these
// exist so that a chart that goes too far is told so, instead of being killed.
package limits

const (
	// ChartBytes bounds the files of one chart, unpacked. Helm's own bound is
	// 100 MiB; the files are in memory several times while a chart is loaded,
	// and a call has 512 MiB.
	ChartBytes = 32 << 20

	// ChartFiles bounds the number of files of one chart. The largest public
	// charts have about 1,500, subcharts included.
	ChartFiles = 20_000

	// ValuesBytes bounds the values that a resource gives to a chart, as JSON.
	// Kubernetes refuses objects of more than 1.5 MiB, and values become such.
	ValuesBytes = 4 << 20

	// ValuesDepth bounds how deeply values nest. Charts copy and merge values
	// recursively, on a stack that the sandbox bounds.
	ValuesDepth = 100

	// RenderedBytes bounds everything that one rendering answers. A monitoring
	// stack with all its subcharts is 0.7 MB, with CRDs 5 MB.
	RenderedBytes = 32 << 20

	// Manifests bounds the documents of one rendering.
	Manifests = 10_000

	// TemplateDepth is how deeply one named template may include itself. It is
	// Helm's own bound (helm.sh/helm/v4/pkg/engine), stated here because a
	// chart author meets it; Helm's code enforces it.
	TemplateDepth = 1000

	// OutputTemplateBytes bounds one output's rendered value.
	OutputTemplateBytes = 64 << 10

	// NotesBytes bounds the notes that a rendering answers; longer ones are cut
	// with a remark. People read them, machines do not.
	NotesBytes = 64 << 10

	// StateBytes bounds the manifests remembered in the state, compressed. Past
	// it only digests are remembered, and a plan names changed objects without
	// showing how they change.
	StateBytes = 1 << 20

	// ChangesPerObject bounds the differences shown for one changed object;
	// past it the object is shown as one change.
	ChangesPerObject = 50

	// Changes bounds the differences of one plan; past it they are counted.
	Changes = 2_000

	// ChangeBytes bounds one side of one change; a longer one is cut with a
	// remark, because people read it.
	ChangeBytes = 16 << 10

	// Violations bounds how many violations one answer lists.
	Violations = 100
)
