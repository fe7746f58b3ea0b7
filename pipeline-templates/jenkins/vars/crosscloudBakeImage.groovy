// Generated from src/steps/bake-image.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudBakeImage',
        name: 'bake-image',
        inputs: ['app', 'war', 'base', 'webapp', 'warLayout', 'warStatic', 'warNames', 'times', 'templates', 'add', 'entrypoint', 'writable', 'version', 'commit', 'startScript', 'builder', 'dockerfile', 'context', 'buildArgs', 'target', 'engine', 'engineCertificates', 'architecture', 'imageFolder'],
        attempts: 3
    )
}
