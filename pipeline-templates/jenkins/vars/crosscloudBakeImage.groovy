// Generated from src/steps/bake-image.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('bake-image', [
        app: 'CROSSCLOUD_APP',
        war: 'CROSSCLOUD_WAR',
        base: 'CROSSCLOUD_BASE',
        webapp: 'CROSSCLOUD_WEBAPP',
        warLayout: 'CROSSCLOUD_WAR_LAYOUT',
        templates: 'CROSSCLOUD_TEMPLATES',
        add: 'CROSSCLOUD_ADD',
        entrypoint: 'CROSSCLOUD_ENTRYPOINT',
        version: 'CROSSCLOUD_VERSION',
        commit: 'CROSSCLOUD_COMMIT',
        startScript: 'CROSSCLOUD_START_SCRIPT',
        architecture: 'CROSSCLOUD_ARCHITECTURE',
        imageFolder: 'CROSSCLOUD_IMAGE_FOLDER',
    ], inputs)
}
