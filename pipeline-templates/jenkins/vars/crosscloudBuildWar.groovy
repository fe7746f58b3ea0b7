// Generated from src/steps/build-war.ts by `npm run generate`. Do not edit.

Map call(Map inputs = [:]) {
    return crosscloud.step('build-war', [
        war: 'CROSSCLOUD_WAR',
        repository: 'CROSSCLOUD_REPOSITORY',
        branch: 'CROSSCLOUD_BRANCH',
        goals: 'CROSSCLOUD_GOALS',
        args: 'CROSSCLOUD_ARGS',
        maven: 'CROSSCLOUD_MAVEN',
        localRepository: 'CROSSCLOUD_LOCAL_REPOSITORY',
    ], inputs)
}
